// Draws all figures of the page, as it does itself before it is printed; gives each as an SVG, or why there is none.
async () => {
  dispatchEvent(new Event('beforeprint'));
  const drawn = [];
  for (const plot of document.querySelectorAll('.plot')) {
    let svg = null, error = null;
    try {
      while (!plot._fullLayout) await new Promise(done => setTimeout(done, 20));
      const size = {width: plot.clientWidth, height: plot.clientHeight};
      svg = await Plotly.toImage(plot, {format: 'svg', imageDataOnly: true, ...size});
    } catch (caught) {
      error = String(caught);
    }
    drawn.push({
      name: plot.id, svg, error,
      section: plot.closest('section').querySelector('h2').textContent,
      caption: plot.closest('figure').querySelector('figcaption').textContent,
    });
  }
  return drawn;
}
