"""An encoder folder: what it holds, where it comes from, and how it is loaded.

A folder holds ``config.json`` (published keys), ``model.safetensors`` (the masked-language model) and
``tokenizer.json``. It is made from random weights, copied from a local path, or fetched from a hub at a pinned
revision with its content hash checked. A local path wins over a download.
"""

import json
import logging
from pathlib import Path

from tokenizers import Tokenizer

from chemsieve.errors import ChemsieveError
from chemsieve.models import encoders, tokenization
from chemsieve.models.bundled import BUNDLED, local_folder
from chemsieve.runtime.files import copy, sha256, write_atomically, write_json

log = logging.getLogger(__name__)

FILES = ("config.json", "model.safetensors", "tokenizer.json")


def read_config(folder: str | Path) -> dict:
    """The ``config.json`` of an encoder folder.

    Raises:
        ChemsieveError: it is missing or is not a JSON object.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChemsieveError(f"{path}: there is no such file; an encoder folder needs {', '.join(FILES)}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ChemsieveError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(config, dict):
        raise ChemsieveError(f"{path}: not a JSON object")
    return config


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of an encoder folder, without truncation or padding."""
    return tokenization.load(Path(folder) / "tokenizer.json")


def load_masked_lm(folder: str | Path, family: str):
    """The masked-language model of an encoder folder, loaded strictly, in evaluation mode."""
    config = read_config(folder)
    return encoders.load(family).load(Path(folder), config).eval()


def random_masked_lm(family: str, architecture: dict, tokenizer: Tokenizer, seed: int):
    """A masked-language model of random weights; vocabulary and padding default to the tokenizer's."""
    import torch

    own = {"vocab_size": tokenizer.get_vocab_size(), "pad_token_id": tokenization.special_id(tokenizer, "pad")}
    torch.manual_seed(seed)
    return encoders.load(family).initialise(own | architecture)


def save_masked_lm(model, tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write a masked-language model as an encoder folder."""
    from chemsieve.models.checkpoints import write_tensors

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # A tied decoder is the embedding, stored once; empty where the configuration unties it.
    tied = set(model.all_tied_weights_keys)
    write_tensors({name: t for name, t in model.state_dict().items() if name not in tied}, folder / "model.safetensors")
    # to_diff_dict leaves out what equals a default, which another release may change. Where the encoder was loaded
    # from is no part of it.
    left_out = ("transformers_version", "_name_or_path")
    config = {key: value for key, value in model.config.to_dict().items() if key not in left_out}
    write_json(folder / "config.json", config)
    write_atomically(folder / "tokenizer.json", lambda temporary: tokenizer.save(str(temporary)))


def token_limit(folder: str | Path, family: str, configured: int | None) -> int:
    """Longest input in tokens: the encoder's, or a smaller configured one."""
    own = encoders.load(family).max_tokens(read_config(folder))
    return own if configured is None else min(own, configured)


def _from_hub(repository: str, revision: str, hashes: dict[str, str], files: list[str]) -> dict[str, Path]:
    """Fetch files of a hub repository at a pinned revision through the hub's own cache, and check their hashes."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    found = {}
    for name in files:
        try:
            path = Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError:
            raise ChemsieveError(
                f"encoder.repository: {repository}@{revision[:12]} cannot be reached and is not in the cache; "
                "set encoder.path to a local folder, or run once with a network"
            ) from None
        except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise ChemsieveError(f"encoder.repository: {repository}: {name}: {str(error).splitlines()[0]}") from None
        if name in hashes and (got := sha256(path)) != hashes[name]:
            raise ChemsieveError(
                f"encoder.sha256: {repository}@{revision[:12]}: {name} has sha256 {got}, expected {hashes[name]}"
            )
        if name not in hashes:
            said = "encoder.sha256 has no hash of %s, so that only the revision pins it; it is %s"
            log.warning(said, name, sha256(path))
        found[name] = path
    return found


def prepare(folder: str | Path, encoder: dict) -> str:
    """Make the encoder folder that the configuration's ``encoder`` section describes (a path before a repository).

    Returns:
        One sentence that says where it came from.

    Raises:
        ChemsieveError: files are missing, or do not fit each other.
    """
    folder = Path(folder)
    family = encoder["family"]
    if encoder.get("path"):
        source = local_folder(encoder["path"])
        if not source.is_dir():
            raise ChemsieveError(f"encoder.path: {source} is not a folder")
        files = {name: source / name for name in FILES}
        origin = "this project" if encoder["path"] == BUNDLED else f"local folder {source}"
    elif encoder.get("repository"):
        names = [name for name in FILES if not (name == "tokenizer.json" and encoder.get("tokenizer"))]
        files = _from_hub(encoder["repository"], encoder["revision"], encoder.get("sha256") or {}, names)
        origin = f"{encoder['repository']} at revision {encoder['revision']}"
    else:
        return _from_random_weights(folder, encoder)
    if encoder.get("tokenizer"):
        files["tokenizer.json"] = Path(encoder["tokenizer"])
    for name, path in files.items():
        if not path.is_file():
            raise ChemsieveError(f"encoder: {path} does not exist; an encoder needs {', '.join(FILES)}")
        copy(path, folder / name)
    _check(folder, family)
    return f"encoder from {origin}"


def _from_random_weights(folder: Path, encoder: dict) -> str:
    own = encoder.get("tokenizer") is None
    tokenizer = tokenization.load_or_build(encoder.get("tokenizer"))
    model = random_masked_lm(encoder["family"], encoder["architecture"], tokenizer, encoder["seed"])
    save_masked_lm(model, tokenizer, folder)
    _check(folder, encoder["family"])
    return f"encoder from random weights, seed {encoder['seed']}, {'own' if own else 'given'} tokenizer"


def _check(folder: Path, family: str) -> None:
    """Load everything once, so that a bad encoder stops here and not in the middle of a study."""
    tokenizer = load_tokenizer(folder)
    for role in ("pad", "mask", "unknown"):
        tokenization.special_id(tokenizer, role)
    size = int(read_config(folder).get("vocab_size", 0))
    if tokenizer.get_vocab_size() > size:
        raise ChemsieveError(
            f"{folder}/tokenizer.json has {tokenizer.get_vocab_size()} tokens, the encoder's vocabulary {size}"
        )
    load_masked_lm(folder, family)
