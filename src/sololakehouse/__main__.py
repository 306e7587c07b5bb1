"""`python -m sololakehouse` is `slh`."""

from sololakehouse.cli import main

if __name__ == "__main__":
    main()
