"""`python -m handletime`."""

from handletime.cli import main

if __name__ == "__main__":
    main()
