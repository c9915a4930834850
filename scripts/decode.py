"""Decodes test sets with a trained model at one or several contexts, and scores the words.

python scripts/decode.py exp/digits --epoch 30 --avg 9 --contexts "full 32/256/0 32/256/64"
python scripts/decode.py exp/digits --epoch auto --right 64     # picked on the validation sets
"""

import argparse
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.results import LIVE
from zipformer.evaluation.table import to_markdown
from zipformer.evaluation.test_sets import choose_sets
from zipformer.report.compare import Entry, make_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_model_options(parser)
    options.add_context_options(parser)
    parser.add_argument("--contexts", help="several, as in 'full 32/256/0 32/256/64'")
    options.add_mode_options(parser)
    parser.add_argument("--sets", help="names in the run's config, or name=manifest (default: all)")
    parser.add_argument("--max-duration", type=float, help="seconds of audio in a batch")
    options.add_search_options(parser)
    args = parser.parse_args()
    with options.for_people():
        loaded = options.load(args, sys.stdout)
        contexts = choose_contexts(loaded.config, args.contexts, args.chunk, args.left, args.right)
        sets = choose_sets(loaded.config, args.sets)
        for context, mode in product(contexts, args.right_mode):
            loaded.check_context(context, live=mode in LIVE)
        method = options.method_of(args, loaded.model)
        run = loaded.path.resolve().parent
        print(f"{loaded.label} of {run}, {loaded.steps} training steps")
        entries = []
        for context in contexts:
            print(f"context {context}: {context.describe()}")
            for mode in args.right_mode:
                for name, path in sets.items():
                    how = (context, mode, method, args.max_duration)
                    result = evaluate(loaded, path, name, *how, chosen=args.chosen)
                    entries.append(Entry(run.name, result, path))
                    print(
                        f"  [{name}, {mode}] WER {result.errors}, RTF {result.rtf:.4f}", flush=True
                    )
        print(f"\n{to_markdown(make_table(entries))}\n\nFiles in {run / 'decode'}")


if __name__ == "__main__":
    main()
