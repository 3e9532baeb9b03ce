"""`python -m vader3d`: the command line."""

from vader3d.cli.main import main

if __name__ == "__main__":
    main()
