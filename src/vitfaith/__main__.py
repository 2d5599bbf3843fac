"""``python -m vitfaith``."""

from vitfaith.cli import main

if __name__ == "__main__":
    main()
