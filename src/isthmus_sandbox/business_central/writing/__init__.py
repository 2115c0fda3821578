"""The write side of the Business Central simulator: create, change, delete, bound actions, streams, `$batch`.

In: a resolved company and an authenticated call. Out: what the vendor would answer, and the tables changed. The door is
`dispatch.write` (and `batch.answer_batch`); every request is one transaction (`transaction.py`), so a refused write
leaves nothing behind. Vendor facts: `reference/business-central/behaviour.md` sections 6 to 8 and 10, BC-59 to BC-83.

Must never be in it: reading code (that is `reading.py`), an import of `isthmus`.
"""
