-- Named queries that read. Lists of ids or keys travel as one JSON array.

-- name: record
SELECT * FROM records WHERE id = ?

-- name: records
SELECT * FROM records WHERE id IN (SELECT value FROM json_each(?))

-- name: all_records
SELECT * FROM records ORDER BY id

-- name: all_schedules
SELECT * FROM schedules ORDER BY id

-- name: relations
-- For each key: who awaits it (1), whom its task awaits (2), who listens (3).
SELECT 1, callbacks.awaited, promises.id
FROM callbacks JOIN promises ON promises.key = callbacks.awaiter
WHERE callbacks.awaited IN (SELECT value FROM json_each(?1))
UNION ALL
SELECT 2, callbacks.awaiter, promises.id
FROM callbacks JOIN promises ON promises.key = callbacks.awaited
WHERE callbacks.awaiter IN (SELECT value FROM json_each(?1))
UNION ALL
SELECT 3, promise, address FROM listeners
WHERE promise IN (SELECT value FROM json_each(?1))

-- name: branches
SELECT branch, id FROM promises
WHERE branch IS NOT NULL AND branch IN (SELECT value FROM json_each(?))

-- name: children
SELECT id FROM promises
WHERE parent IS NOT NULL AND parent IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?

-- name: children_in_own_branch
-- A parent that is also the branch is not stored twice: these may be children, their tags decide.
SELECT id FROM promises
WHERE branch IS NOT NULL AND branch IN (SELECT value FROM json_each(?)) AND parent IS NULL ORDER BY id LIMIT ?

-- name: promises_after
SELECT id, state, timeout_at, tags FROM promises WHERE id > ? ORDER BY id LIMIT ?

-- name: tasks_after
SELECT promises.id, promises.state, timeout_at, tasks.state
FROM promises LEFT JOIN tasks ON tasks.key = promises.key
WHERE promises.id > ? ORDER BY promises.id LIMIT ?

-- name: schedule
SELECT * FROM schedules WHERE id = ?

-- name: schedules_after
SELECT * FROM schedules WHERE id > ? ORDER BY id LIMIT ?

-- name: due_deadlines
SELECT timeout_at, id FROM promises
WHERE state = 'pending' AND timeout_at <= ? ORDER BY timeout_at, key LIMIT ?

-- name: due_leases
SELECT lease_at, id FROM tasks JOIN promises USING (key)
WHERE tasks.state = 'acquired' AND lease_at <= ? ORDER BY lease_at, tasks.key LIMIT ?

-- name: due_hints
SELECT hint_due_at, id FROM tasks JOIN promises USING (key)
WHERE tasks.state = 'pending' AND hint_due_at <= ? ORDER BY hint_due_at, tasks.key LIMIT ?

-- name: due_schedules
SELECT next_run_at, id FROM schedules WHERE next_run_at <= ? ORDER BY next_run_at, id LIMIT ?

-- name: waiting
SELECT tasks.key, id FROM tasks JOIN promises USING (key)
WHERE tasks.state = 'pending' AND destination = ? AND hint_due_at <= ? AND tasks.key > ?
ORDER BY tasks.key LIMIT ?

-- name: unconfirmed
SELECT promise, promises.id FROM listeners JOIN promises ON promises.key = listeners.promise
WHERE is_settled = 1 AND promise > ? GROUP BY promise ORDER BY promise LIMIT ?

-- name: held
SELECT pid, id FROM tasks JOIN promises USING (key) WHERE tasks.state = 'acquired'

-- name: meta
SELECT store_id, last_now_ms, next_settle_seq, opener_pid, is_open,
       (SELECT COALESCE(MAX(key), 0) + 1 FROM promises)
FROM meta
