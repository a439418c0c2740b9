"""`python -m mizzen.proxy`: the data plane without the rest of the command line."""

from mizzen.proxy.commands import main

if __name__ == "__main__":
    main()
