(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const touch = matchMedia('(pointer: coarse)').matches;
  const template = () => {
    const ink = dark.matches ? '#e4e8ee' : '#1d2430', line = dark.matches ? '#333b47' : '#d9dee6';
    const axis = {gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true};
    return {layout: {
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', xaxis: axis, yaxis: axis,
      font: {color: ink, size: 12, family: getComputedStyle(document.body).fontFamily},
      hoverlabel: {align: 'left', namelength: -1, bgcolor: dark.matches ? '#1c222b' : '#fff', font: {color: ink}},
      legend: {orientation: 'h', traceorder: 'normal', x: 0, xanchor: 'left', y: 1.02, yanchor: 'bottom'},
      modebar: {bgcolor: 'rgba(0,0,0,0)', color: line, activecolor: ink},
      margin: {l: 8, r: 12, t: 28, b: 8}, dragmode: touch ? false : 'zoom'}};
  };
  const options = {responsive: true, displaylogo: false, displayModeBar: touch ? false : 'hover',
    modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']]};
  const figure = plot => JSON.parse(plot.nextElementSibling.textContent);
  // An axis title in lines of so many characters: plotly cuts off what a phone has no room for.
  const wrapped = (text, room) => {
    const lines = [''];
    for (const word of text.split(' ')) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (longer.length > room && lines.at(-1)) lines.push(word); else lines[lines.length - 1] = longer;
    }
    return lines.join('<br>');
  };
  const plots = [...document.querySelectorAll('.plot')], drawn = new Set();
  const draw = plot => {
    if (drawn.has(plot)) return;
    drawn.add(plot);
    const content = figure(plot), title = content.layout.xaxis?.title;
    if (title?.text) title.text = wrapped(title.text, plot.clientWidth / 9);
    const placed = Plotly.newPlot(plot, content.data, {...content.layout, template: template()}, options);
    placed.then(() => { // names beside the axis may leave the title less room
      const fitting = title?.text && wrapped(title.text.replaceAll('<br>', ' '), plot._fullLayout._size.w / 7.5);
      if (fitting && fitting !== title.text) Plotly.relayout(plot, {'xaxis.title.text': fitting});
    });
  };
  // A figure is drawn when it comes near, so that the first screen does not wait for all of them.
  const near = new IntersectionObserver(
    entries => entries.filter(entry => entry.isIntersecting).forEach(entry => draw(entry.target)),
    {rootMargin: '800px'});
  plots.forEach(plot => near.observe(plot));
  // Before it is printed all is opened and drawn, as wide as a sheet; afterwards it is as it was.
  const SHEET = 680; // pixels
  const folds = [...document.querySelectorAll('details')];
  let shut = [];
  addEventListener('beforeprint', () => {
    shut = folds.filter(fold => !fold.open);
    shut.forEach(fold => { fold.open = true; });
    plots.forEach(plot => {
      draw(plot);
      if (plot.clientWidth > SHEET) Plotly.relayout(plot, {width: SHEET});
    });
  });
  addEventListener('afterprint', () => {
    shut.forEach(fold => { fold.open = false; });
    plots.forEach(plot => Plotly.relayout(plot, {width: null, autosize: true}));
  });
  // A link into a fold opens it.
  const opened = () => {
    const goal = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = goal && goal.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
    if (goal) goal.scrollIntoView();
  };
  addEventListener('hashchange', opened);
  opened();
  // Which section is being read.
  const links = new Map([...document.querySelectorAll('nav a')].map(link => [link.getAttribute('href').slice(1), link]));
  const reading = new IntersectionObserver(entries => entries.forEach(({target, isIntersecting}) => {
    if (!isIntersecting) return;
    links.forEach(link => link.removeAttribute('aria-current'));
    links.get(target.id)?.setAttribute('aria-current', 'true');
  }), {rootMargin: '-10% 0px -80% 0px'});
  document.querySelectorAll('main section').forEach(section => reading.observe(section));
  dark.addEventListener('change', () => drawn.forEach(plot => Plotly.relayout(plot, {template: template()})));

  // A spreadsheet would run what begins so as a formula; "+0.01 to 0.02" is none, and is text to it anyway.
  const safe = text => /^[=+\-@\t\r]/.test(text) && isNaN(text) ? `'${text}` : text;
  const quoted = text => {
    const content = safe(text);
    return /[",\r\n]/.test(content) ? `"${content.replace(/"/g, '""')}"` : content;
  };

  const text = (row, i) => row.cells[i].textContent;
  // The number that a cell begins with: "0.71 ± 0.02" and "0.71 (0.60 to 0.80)" are sorted by the first.
  const value = (row, i) => Number(text(row, i).replace(/,/g, '').match(/^[-+]?[\d.]+(e[-+]?\d+)?(?= |$)/)?.[0] ?? NaN);
  const order = (a, b, i) => {
    const x = value(a, i), y = value(b, i);
    if (isNaN(x) && isNaN(y)) return text(a, i).localeCompare(text(b, i));
    return isNaN(x) - isNaN(y) || x - y;
  };
  document.querySelectorAll('table.sortable th').forEach(head => head.addEventListener('click', () => {
    const body = head.closest('table').tBodies[0], up = head.ariaSort !== 'ascending';
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b, head.cellIndex));
    head.parentNode.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    body.append(...rows);
  }));

  const saved = (content, name) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([content], {type: 'text/csv'}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  // Cells of a table as they are shown: sorted, and without the rows that are filtered out.
  const cells = table => [...table.rows].filter(row => !row.hidden)
    .map(row => [...row.cells].map(cell => cell.textContent));
  const COPIED = 2000; // milliseconds for which it is said
  document.querySelectorAll('table').forEach((table, place) => {
    const heads = [...table.tHead.rows[0].cells].map(cell => cell.textContent);
    if (heads.length > 3) {
      table.classList.add('cards');
      table.setAttribute('role', 'table');
      [...table.rows].forEach(row => row.setAttribute('role', 'row'));
      [table.tHead, table.tBodies[0]].forEach(part => part.setAttribute('role', 'rowgroup'));
      table.querySelectorAll('th').forEach(cell => cell.setAttribute('role', 'columnheader'));
      table.querySelectorAll('tbody td').forEach(cell => {
        cell.setAttribute('role', 'cell');
        cell.dataset.label = heads[cell.cellIndex];
      });
    }
    const tools = document.createElement('div'), copy = document.createElement('button');
    const save = document.createElement('button'), name = table.caption.textContent;
    tools.className = 'tools';
    copy.type = save.type = 'button';
    copy.textContent = 'Copy table';
    save.textContent = 'Table as CSV';
    copy.setAttribute('aria-label', `Copy table: ${name}`);
    save.setAttribute('aria-label', `Table as CSV: ${name}`);
    copy.addEventListener('click', async () => {
      const lines = cells(table).map(row => row.map(text => safe(text.replace(/[\t\r\n]+/g, ' '))).join('\t'));
      const area = document.createElement('textarea'); // the clipboard proper is for pages of a server alone
      area.value = lines.join('\n');
      document.body.append(area);
      area.select();
      copy.textContent = document.execCommand('copy') ? 'Copied' : 'Not copied';
      area.remove();
      copy.focus();
      setTimeout(() => { copy.textContent = 'Copy table'; }, COPIED);
    });
    save.addEventListener('click', () => {
      const section = table.closest('section').id;
      saved(cells(table).map(row => row.map(quoted).join(',') + '\r\n').join(''), `${section}-table-${place}.csv`);
    });
    tools.append(copy, save);
    if (table.querySelector('.more')) {
      const wider = document.createElement('button');
      const part = shown => {
        table.classList.toggle('part', shown);
        wider.textContent = shown ? `All ${heads.length} columns` : 'Fewer columns';
        wider.setAttribute('aria-label', `${wider.textContent}: ${name}`);
      };
      wider.type = 'button';
      wider.addEventListener('click', () => part(!table.classList.contains('part')));
      part(true);
      tools.append(wider);
    }
    table.closest('.scroll').after(tools);
  });

  const LARGE = 15; // rows
  document.querySelectorAll('table.sortable').forEach(table => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < LARGE) return;
    const label = document.createElement('label'), box = document.createElement('input');
    const shown = document.createElement('output');
    label.className = 'filter';
    box.type = 'search';
    label.append('Show rows with ', box, shown);
    table.closest('.scroll').before(label);
    const contents = rows.map(row => [...row.cells].map(cell => cell.textContent.toLowerCase()).join(' '));
    box.addEventListener('input', () => {
      const words = box.value.toLowerCase().split(/\s+/);
      rows.forEach((row, i) => { row.hidden = !words.every(word => contents[i].includes(word)); });
      shown.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
    });
  });

  // The data of a figure as it was given to plotly: arrays of numbers are packed, text has its HTML escaped.
  const PACKED = {f8: Float64Array, f4: Float32Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array,
    u2: Uint16Array, i1: Int8Array, u1: Uint8Array};
  const list = values => {
    if (!values?.bdata) return Array.isArray(values) ? values : [];
    const bytes = Uint8Array.from(atob(values.bdata), letter => letter.charCodeAt(0));
    const flat = [...new PACKED[values.dtype](bytes.buffer)];
    const width = Number(String(values.shape ?? '').split(',')[1]);
    return width ? flat.flatMap((_, i) => i % width ? [] : [flat.slice(i, i + width)]) : flat;
  };
  const plainText = html =>
    new DOMParser().parseFromString(html.replace(/<br>/g, ' '), 'text/html').body.textContent;
  const records = trace => {
    const [x, y, z, note, detail, up, down, size] = [trace.x, trace.y, trace.z, trace.text, trace.customdata,
      (trace.error_y ?? trace.error_x)?.array,
      (trace.error_y ?? trace.error_x)?.arrayminus ?? (trace.error_y ?? trace.error_x)?.array, trace.marker?.size].map(list);
    const who = {series: trace.name, run: trace.meta};
    if (z.length) return y.flatMap((row, i) => x.map((column, j) =>
      ({...who, x: column, y: row, value: z[i][j], text: note[i]?.[j], detail: detail[i]?.[j]})));
    return x.map((at, i) => ({...who, x: at, y: y[i], above: up[i], below: down[i], size: size[i], text: note[i],
      detail: detail[i]}));
  };
  const cell = value => {
    if (value === null || value === undefined || Number.isNaN(value)) return '';
    if (typeof value === 'number') return String(value);
    return quoted(plainText(String(value)));
  };
  const csv = ({data, layout}) => {
    const rows = data.flatMap(records);
    const columns = ['series', 'run', 'x', 'y', 'value', 'above', 'below', 'size', 'text', 'detail']
      .filter(name => rows.some(row => cell(row[name]) !== ''));
    const named = {x: layout.xaxis?.title?.text, y: layout.yaxis?.title?.text};
    const head = columns.map(name => cell(named[name] || name));
    const lines = [head, ...rows.map(row => columns.map(name => cell(row[name])))];
    return lines.map(line => line.join(',') + '\r\n').join('');
  };
  plots.forEach(plot => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'download';
    button.textContent = 'Data as CSV';
    button.setAttribute('aria-label', `Data of figure ${plot.id} as CSV`);
    button.addEventListener('click', () => saved(csv(figure(plot)), `${plot.id}.csv`));
    plot.closest('figure').append(button);
  });
})();
