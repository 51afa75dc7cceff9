"""How the zoo's tiny models are trained: one module per role, with shared scenes and loop.

Each role's module offers ``train(out)``, which writes one checkpoint folder; the command is
``python scripts/train_zoo.py ROLE``.
"""
