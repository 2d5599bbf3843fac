"""``python -m vitfaith``."""

from vitfaith.cli.main import main

if __name__ == "__main__":
    main()
