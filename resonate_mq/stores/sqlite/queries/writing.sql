-- Named statements that write; each is prepared once and run for all rows of a unit.

-- name: insert_promise
INSERT INTO promises (key, id, state, param_headers, param_data, value_headers, value_data, tags, timeout_at,
                      created_at, settled_at, settle_seq, branch, parent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: settle_promise
UPDATE promises SET state = ?, value_headers = ?, value_data = ?, settled_at = ?, settle_seq = ? WHERE key = ?

-- name: insert_task
INSERT INTO tasks (key, state, version, pid, ttl_ms, lease_at, hint_due_at, hint_attempt, resumes, claim, last_pid,
                   progressed, stalls, reason, destination)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: update_task
UPDATE tasks SET state = ?, version = ?, pid = ?, ttl_ms = ?, lease_at = ?, hint_due_at = ?, hint_attempt = ?,
                 resumes = ?, claim = ?, last_pid = ?, progressed = ?, stalls = ?, reason = ?
WHERE key = ?

-- name: renew_lease
UPDATE tasks SET lease_at = ? WHERE key = ?

-- name: rearm_hint
UPDATE tasks SET hint_due_at = ?, hint_attempt = ? WHERE key = ?

-- name: note_progress
UPDATE tasks SET resumes = ?, progressed = ?, stalls = ?, reason = ? WHERE key = ?

-- name: insert_callback
INSERT INTO callbacks (awaited, awaiter) VALUES (?, ?)

-- name: delete_callback
DELETE FROM callbacks WHERE awaiter = ? AND awaited = (SELECT key FROM promises WHERE id = ?)

-- name: delete_callbacks_of
DELETE FROM callbacks WHERE awaiter = ?

-- name: insert_listener
INSERT INTO listeners (promise, address, is_settled) VALUES (?, ?, ?)

-- name: settle_listeners
UPDATE listeners SET is_settled = 1 WHERE promise = ?

-- name: delete_listener
DELETE FROM listeners WHERE promise = ? AND address = ?

-- name: put_schedule
INSERT OR REPLACE INTO schedules (id, cron, promise_id, promise_timeout_ms, param_headers, param_data, promise_tags,
                                  created_at, next_run_at, last_run_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: delete_schedule
DELETE FROM schedules WHERE id = ?

-- name: put_meta
UPDATE meta SET last_now_ms = ?, next_settle_seq = ?

-- name: first_meta
INSERT OR IGNORE INTO meta (one, store_id) VALUES (1, ?)

-- name: note_opening
UPDATE meta SET opener_pid = ?, is_open = 1

-- name: note_closing
UPDATE meta SET is_open = 0

-- name: delete_promises
DELETE FROM promises

-- name: delete_tasks
DELETE FROM tasks

-- name: delete_callbacks
DELETE FROM callbacks

-- name: delete_listeners
DELETE FROM listeners

-- name: delete_schedules
DELETE FROM schedules
