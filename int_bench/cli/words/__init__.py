"""What is typed: the options that commands share, and how a shell completes them."""
