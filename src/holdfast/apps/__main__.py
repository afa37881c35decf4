"""`python -m holdfast.apps`: the `holdfast` command where no script is installed."""

from holdfast.apps.entry import main

main()
