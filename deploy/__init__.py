"""How the parts are run: the embedded stack, and what a platform deploys."""
