"""The `shangxin` command: one file a process or a group of commands."""
