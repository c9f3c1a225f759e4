"""What a parked key waits for, and what a replay has dealt with of that. Pure; for owners (`markers.py`, `claiming.py`), and for
whoever asks them to call keys again.

A key may be called again when every letter that was ever written of it has been dealt with. Its marker names the last one that
is known. After an owner that did not give back in order there may be one more, written and not known: so the next owner puts
beside the name a claim of its own. Only who has seen that claim, and then a target in which no letter of the key waits, can name it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from streamkit.engine.delivery.letter import Letter
from streamkit.model import Checkpoint, ParkedKey, Partition

__all__ = ["Replayed", "after_a_claim", "inherited", "is_replayed", "name_of", "still_parked", "without"]

_CLAIMED = ".claimed"


def name_of(partition: Partition, epoch: int, number: int, salt: str) -> str:
    """What no other letter is called. `salt`: epochs begin again with a store that is made anew, and the letters are still there."""
    return f"{partition}/{epoch}.{number}-{salt}"


def still_parked(parked: Mapping[bytes, ParkedKey]) -> dict[bytes, ParkedKey]:
    """Those that are not called."""
    return {key: one for key, one in parked.items() if not one.is_released}


def is_replayed(parked: ParkedKey, letters: Collection[str]) -> bool:
    """Whether these, the last that were replayed, are the last that there are."""
    return set(parked.letters) <= set(letters)


def after_a_claim(parked: Mapping[bytes, ParkedKey], partition: Partition, epoch: int) -> dict[bytes, ParkedKey]:
    """What the owner of this epoch begins with, if the one before may have written letters that its markers do not name."""
    claim = f"{partition}/{epoch}{_CLAIMED}"
    return {key: one if one.is_released else replace(one, letters=(*_without_claims(one.letters), claim)) for key, one in parked.items()}


def inherited(own: Mapping[bytes, ParkedKey], parents: Sequence[Mapping[bytes, ParkedKey]]) -> dict[bytes, ParkedKey]:
    """What is parked in a partition that goes on for others. Which of them a key belonged to is not asked, so all letters count.

    What it has released since stays so. Who has ended had every record again that it could not know the letter of: no claim counts.
    """
    found = dict(own)
    for parked in parents:
        for key, one in still_parked(parked).items():
            if key in own and own[key].is_released:
                continue
            before = found[key] if key in found else ParkedKey(one.first, ())
            found[key] = replace(before, letters=tuple(dict.fromkeys((*before.letters, *_without_claims(one.letters)))))
    return found


def without(checkpoint: Checkpoint, keys: Collection[bytes]) -> dict[bytes, ParkedKey]:
    """What is parked once these are not. As long as no record of the partition is done, that they were is kept: its parents' rows
    still say that they are parked."""
    kept = {key: one for key, one in checkpoint.parked.items() if key not in keys}
    if checkpoint.at.kind == "after":
        return still_parked(kept)
    return kept | {key: replace(checkpoint.parked[key], letters=()) for key in keys if key in checkpoint.parked}


class Replayed:
    """What a target of dead letters holds of the keys that a group has parked."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._last: dict[bytes, dict[tuple[str, str], str]] = {}
        self._waiting: dict[bytes, set[str]] = {}
        """By key, the partitions that wrote them."""

    def see(self, letter: Letter, *, is_dealt_with: bool) -> None:
        """Each one, those of a partition of the target in their order."""
        if letter.group != self._group or not letter.parked or letter.key is None:
            return
        name = letter.parked.partition(" ")[2]
        if is_dealt_with:
            self._last.setdefault(letter.key, {})[_writer(name), letter.partition.id] = name
        else:
            self._waiting.setdefault(letter.key, set()).add(_writer(name))

    def of(self, parked: Mapping[bytes, ParkedKey]) -> dict[bytes, set[str]]:
        """The keys of which no letter waits, each with the last letters that were dealt with, one of each partition that wrote any.

        `parked`: of one partition, as it was before the target was read to its end; so what was written before its claims were made has
        been seen. Only the partitions that its markers name have written letters that matter here.
        """
        found = {}
        for key, one in still_parked(parked).items():
            writers = set(map(_writer, one.letters))
            last = {name for (writer, _), name in self._last.get(key, {}).items() if writer in writers}
            if last and not writers & self._waiting.get(key, set()):
                found[key] = {*last, *_claims(one.letters)}
        return found


def _writer(name: str) -> str:
    """The partition that a letter or a claim is of."""
    return name.rpartition("/")[0]


def _claims(letters: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in letters if name.endswith(_CLAIMED))


def _without_claims(letters: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in letters if not name.endswith(_CLAIMED))
