"""Write a MoLFormer of random weights in the published checkpoint layout, full size unless told otherwise.

python benchmarks/write_checkpoint.py --tokenizer tokenizer.json --output folder [--set num_hidden_layers=2 ...]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow_scripts"))

import torch

from chemsieve.models import backbone, tokenization
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerForMaskedLM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, type=Path, help="a tokenizer.json")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=NUMBER", help="configuration keys to change")
    arguments = parser.parse_args()
    changes = {key: int(value) for key, value in (pair.split("=", 1) for pair in arguments.set)}
    tokenizer = tokenization.load(arguments.tokenizer)
    torch.manual_seed(arguments.seed)
    model = MolformerForMaskedLM(MolformerConfig(**({"vocab_size": tokenizer.get_vocab_size()} | changes)))
    backbone.save_masked_lm(model, tokenizer, arguments.output)
    encoder = sum(parameter.numel() for parameter in model.molformer.parameters())
    print(f"{arguments.output}: encoder of {encoder:,} parameters")


if __name__ == "__main__":
    main()
