"""The commands, by what they are about; every heavy import waits until its command runs."""
