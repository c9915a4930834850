"""``python -m zipformer`` is the command ``zipformer``."""

from zipformer_cli import main

if __name__ == "__main__":
    main()
