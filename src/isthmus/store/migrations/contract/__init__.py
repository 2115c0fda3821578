"""Contract migrations: plain SQL files `NNNN_what.sql` whose first line says `-- needs code of schema NNNN`.

They take away what no code of that schema uses any more, and run by `isthmus migrate --finish` alone.
"""
