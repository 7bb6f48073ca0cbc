-- The first schema. Instants are epoch milliseconds; keys are numbers the store gives, in order of creation.

-- One row about the store itself.
CREATE TABLE meta (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    store_id        TEXT NOT NULL,                -- random, the same for the life of the data (D1)
    last_now_ms     INTEGER NOT NULL DEFAULT 0,   -- high-water mark of time, written with every commit (D3)
    next_settle_seq INTEGER NOT NULL DEFAULT 1,   -- D19
    opener_pid      INTEGER,                      -- process that opened the store last (D20)
    is_open         INTEGER NOT NULL DEFAULT 0    -- 0 once it closed
);

CREATE TABLE promises (
    key           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    state         TEXT NOT NULL,
    param_headers BLOB,               -- JSON object; NULL: absent (protocol section 2.1)
    param_data    BLOB,               -- UTF-8; NULL: absent. Blobs, so that any character survives (D12)
    value_headers BLOB,
    value_data    BLOB,
    tags          TEXT,               -- JSON object; NULL: {}
    timeout_at    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    settled_at    INTEGER,
    settle_seq    INTEGER,            -- settlements in commit order (D19)
    branch        TEXT,               -- tag resonate:branch; NULL when absent or the own id
    parent        TEXT                -- tag resonate:parent; NULL when absent, the own id, or the branch
);
CREATE INDEX promises_deadline ON promises (timeout_at) WHERE state = 'pending';
CREATE INDEX promises_branch ON promises (branch) WHERE branch IS NOT NULL;
CREATE INDEX promises_parent ON promises (parent) WHERE parent IS NOT NULL;

-- Tasks have the key of their promise.
CREATE TABLE tasks (
    key          INTEGER PRIMARY KEY,
    state        TEXT NOT NULL,
    version      INTEGER NOT NULL,
    pid          TEXT,
    ttl_ms       INTEGER,
    lease_at     INTEGER,
    hint_due_at  INTEGER,              -- D17
    hint_attempt INTEGER NOT NULL,
    resumes      TEXT,                 -- JSON array of ids; NULL: none
    claim        TEXT,                 -- D8
    last_pid     TEXT,                 -- D24
    progressed   INTEGER NOT NULL,     -- D14
    stalls       INTEGER NOT NULL,     -- D14
    reason       TEXT,
    destination  TEXT NOT NULL         -- routing key of resonate:target, without the preferred process
);
CREATE INDEX tasks_lease ON tasks (lease_at) WHERE state = 'acquired';
CREATE INDEX tasks_hint ON tasks (hint_due_at) WHERE state = 'pending';
CREATE INDEX tasks_destination ON tasks (destination) WHERE state = 'pending';

-- "When awaited settles, resume awaiter"; removed when it fired.
CREATE TABLE callbacks (
    awaited INTEGER NOT NULL,
    awaiter INTEGER NOT NULL,
    PRIMARY KEY (awaited, awaiter)
) WITHOUT ROWID;
CREATE INDEX callbacks_awaiter ON callbacks (awaiter);

-- Who is told of a settlement; of a settled promise: unblocks not yet confirmed (D17, D23).
CREATE TABLE listeners (
    promise    INTEGER NOT NULL,
    address    TEXT NOT NULL,
    is_settled INTEGER NOT NULL,       -- whether the promise is
    PRIMARY KEY (promise, address)
) WITHOUT ROWID;
CREATE INDEX listeners_unconfirmed ON listeners (promise) WHERE is_settled = 1;

CREATE TABLE schedules (
    id                 TEXT PRIMARY KEY,
    cron               TEXT NOT NULL,
    promise_id         TEXT NOT NULL,
    promise_timeout_ms INTEGER NOT NULL,
    param_headers      BLOB,
    param_data         BLOB,
    promise_tags       TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    next_run_at        INTEGER NOT NULL,
    last_run_at        INTEGER
);
CREATE INDEX schedules_next_run ON schedules (next_run_at, id);

-- A promise with its task; what the program reads records from.
CREATE VIEW records AS
SELECT promises.key, id, promises.state, param_headers, param_data, value_headers, value_data, tags,
       timeout_at, created_at, settled_at,
       tasks.state AS task_state, version, pid, ttl_ms, lease_at, hint_due_at, hint_attempt, resumes, claim,
       last_pid, progressed, stalls, reason
FROM promises LEFT JOIN tasks ON tasks.key = promises.key;
