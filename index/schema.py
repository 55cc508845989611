"""The tables of ``corpus.db``, and how those of earlier versions become them."""

from __future__ import annotations

_VERSION_1 = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row per distinct content. `row` counts the rows of the shards; a row exists once a
-- transaction has named it here.
CREATE TABLE vectors (
    row    INTEGER PRIMARY KEY,
    sha256 TEXT UNIQUE            -- of the image file; NULL where the vector was imported
);

-- One row per commit: what all rows below `stop` are, as a hash over every commit so far. What
-- is derived from the rows (index, scores) keeps the hash of those it covers, and so notices
-- when they are not these rows any more.
CREATE TABLE commits (
    stop  INTEGER PRIMARY KEY,    -- number of rows after the commit
    chain TEXT NOT NULL           -- SHA-256 of the previous chain and the commit's bytes
);

-- One row per image that was ever found. A changed file points to another vector; the old
-- vector stays, and is used again if its content comes back.
CREATE TABLE items (
    id     INTEGER PRIMARY KEY,
    uri    TEXT NOT NULL UNIQUE,
    sha256 TEXT,
    size   INTEGER,
    stamp  TEXT,                  -- modification and change time when last read
    state  TEXT NOT NULL CHECK (state IN ('embedded', 'failed', 'removed')),
    reason TEXT,                  -- why it failed
    row    INTEGER REFERENCES vectors (row),
    CHECK (state != 'embedded' OR row IS NOT NULL)
);
CREATE INDEX items_by_row ON items (row);
CREATE INDEX items_by_state ON items (state);

-- The labels that the corpus was last calibrated with, for reports and searches.
CREATE TABLE labels (
    item     INTEGER NOT NULL REFERENCES items (id),
    category TEXT NOT NULL,
    level    TEXT NOT NULL,
    PRIMARY KEY (item, category)
) WITHOUT ROWID;

CREATE TABLE runs (
    id       INTEGER PRIMARY KEY,
    started  TEXT NOT NULL,
    finished TEXT,                -- NULL where the run was interrupted
    sources  TEXT NOT NULL,       -- JSON list
    embedded INTEGER NOT NULL DEFAULT 0,
    skipped  INTEGER NOT NULL DEFAULT 0,
    failed   INTEGER NOT NULL DEFAULT 0
);
"""

_VERSION_2 = """
-- One row per draw of images to label.
CREATE TABLE rounds (
    number   INTEGER PRIMARY KEY,  -- from 1
    created  TEXT NOT NULL,
    method   TEXT NOT NULL,
    seed     INTEGER NOT NULL,
    category TEXT NOT NULL,        -- to be labelled in; '' is all
    frame    INTEGER NOT NULL,     -- distinct images that could be picked
    audit    INTEGER NOT NULL,     -- suggested uniformly at random
    picked   INTEGER NOT NULL,     -- suggested for their scores
    rows     INTEGER NOT NULL      -- embeddings of the corpus then
);

-- The images drawn, each distinct content once.
CREATE TABLE suggestions (
    round     INTEGER NOT NULL REFERENCES rounds (number),
    row       INTEGER NOT NULL REFERENCES vectors (row),
    inclusion REAL NOT NULL CHECK (inclusion > 0 AND inclusion <= 1),
    audit     INTEGER NOT NULL CHECK (audit IN (0, 1)),
    PRIMARY KEY (round, row)
) WITHOUT ROWID;

-- Images with labels that nobody had suggested, and the round that found them so.
CREATE TABLE given (
    row   INTEGER PRIMARY KEY REFERENCES vectors (row),
    round INTEGER NOT NULL REFERENCES rounds (number)
);
"""

_VERSION_3 = """
-- What people say of images, as it came: nothing is ever changed here but `undone`.
CREATE TABLE judgements (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    batch    TEXT NOT NULL,        -- said at once, and undone at once
    item     INTEGER NOT NULL REFERENCES items (id),
    row      INTEGER,              -- the content that was seen; NULL where it has no embedding
    category TEXT NOT NULL,
    level    TEXT,                 -- NULL: the rater takes back what he said
    rater    TEXT NOT NULL,
    origin   TEXT NOT NULL,        -- how the rater came to see the image
    given    TEXT NOT NULL,
    undone   TEXT                  -- when; NULL where it stands
);
CREATE INDEX judgements_by_cell ON judgements (item, category);
CREATE INDEX judgements_by_batch ON judgements (batch);

-- Contents that have a label in a category because somebody saw them for their scores.
CREATE TABLE chosen (
    row      INTEGER NOT NULL,
    category TEXT NOT NULL,
    PRIMARY KEY (row, category)
) WITHOUT ROWID;
CREATE INDEX chosen_by_category ON chosen (category);

-- Contents that had a label in a category before the first was chosen in it; and row -1 for each
-- such category.
CREATE TABLE before_chosen (
    row      INTEGER NOT NULL,
    category TEXT NOT NULL,
    PRIMARY KEY (row, category)
) WITHOUT ROWID;
"""

# What to run, in order: version n has the first n of these. They are never changed, only added to.
VERSIONS = (_VERSION_1, _VERSION_2, _VERSION_3)
SCHEMA_VERSION = len(VERSIONS)
# Since which version there are tables for draws, and for what people say.
ROUNDS, JUDGEMENTS = 2, 3
