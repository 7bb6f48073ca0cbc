"""A process that commits for ever and prints each id once its commit was answered. Argument: the database file."""

import asyncio
import sys

from resonate_mq.machine.state import Footprint
from resonate_mq.protocol.records import Value
from resonate_mq.stores.sqlite import SqliteStore
from tests.stores.bench import TARGET, answer, new_promise


async def main(path: str) -> None:
    store = SqliteStore(path)
    async with store.open():
        number = 0
        while True:
            name = f"c{number}"
            async with store.unit(Footprint((name,))) as unit:
                await answer(unit, new_promise(name, target=TARGET, param=Value(None, name * 50)))
                await unit.commit()
            print(f"committed {name}", flush=True)
            number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
