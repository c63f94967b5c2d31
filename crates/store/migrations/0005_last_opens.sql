-- The day on which each recipient last opened a message of mode date: the one thing that this mode is for. That day and
-- no earlier one: the events themselves forget the recipient when the day after is over (`0001_events.sql`), and no
-- other view takes a recipient of this mode.
--
-- There are two sorts of rows. A recipient's has neither source nor month, so that all of a recipient's are one key, of
-- which the last day is left; for the same reason there are no partitions, and parts that are a day old are merged
-- whatever their size. A source's has no recipient and counts the opens of a month. Both come of one block, and so in
-- one part, whole or not at all: what the source's rows add up to tells that the recipients' are there as well, also
-- when the events no longer say whose they were (`src/views.rs`). A day that is filled in twice is the same day.
--
-- `eu` is the one thing more that is kept, for it must be able to forbid a send time. It has no time of its own, which
-- would be that of an earlier open: it stands until 400 days after the last one, longer than it had to.
CREATE TABLE IF NOT EXISTS last_opens{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key; 0 in the row of a source' CODEC(ZSTD(1)),
    month UInt32 COMMENT 'Month of a source''s opens, yyyymm, UTC; 0 in the row of a recipient' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source of the opens; empty in the row of a recipient' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    last_on SimpleAggregateFunction(max, Date) COMMENT 'Day of the last open, UTC; max() it' CODEC(ZSTD(1)),
    eu SimpleAggregateFunction(max, Bool) COMMENT 'A link of the recipient''s said eu; max() it' CODEC(ZSTD(1)),
    events SimpleAggregateFunction(sum, UInt64) COMMENT 'Opens of a source; 0 in the row of a recipient' CODEC(ZSTD(1)),
    k_off SimpleAggregateFunction(max, UInt64) COMMENT 'Provenance: highest offset of the opens' CODEC(ZSTD(1)),
    INDEX by_offset k_off TYPE minmax GRANULARITY 1
)
ENGINE = {AggregatingMergeTree}
ORDER BY (workspace, recipient, month, k_topic, k_part)
TTL last_on + INTERVAL 25 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800,
    min_age_to_force_merge_seconds = 86400
COMMENT 'Rows behind recipients_last_open. Kept for 25 months after the last open.';

-- cluster only
CREATE TABLE IF NOT EXISTS last_opens AS last_opens_local
ENGINE = Distributed({cluster}, currentDatabase(), last_opens_local)
COMMENT 'Rows behind recipients_last_open, of all shards. Kept for 25 months after the last open.';

CREATE MATERIALIZED VIEW IF NOT EXISTS last_opens_fill{local} TO last_opens{local}
AS SELECT
    workspace,
    if(is_source, 0, events_rare{local}.recipient) AS recipient,
    if(is_source, toYYYYMM(received_at), 0) AS month,
    if(is_source, events_rare{local}.k_topic, '') AS k_topic,
    if(is_source, events_rare{local}.k_part, 0) AS k_part,
    max(toDate(received_at, 'UTC')) AS last_on,
    max(NOT is_source AND (region_claim = 'eu' OR region_class = 'eu')) AS eu,
    countIf(is_source) AS events,
    maxIf(events_rare{local}.k_off, is_source) AS k_off
FROM events_rare{local}
ARRAY JOIN [true, false] AS is_source
WHERE mode = 'date'
    AND kind = 'open'
    AND (is_source OR events_rare{local}.recipient != 0)
    AND getSetting('insert_deduplication_token') NOT LIKE '%/rows/%'
GROUP BY workspace, recipient, month, k_topic, k_part
COMMENT 'Fills last_opens from events_rare';

CREATE VIEW IF NOT EXISTS recipients_last_open
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key',
    last_on Date COMMENT 'Day of the last open, UTC'
)
AS SELECT workspace, recipient, max(s.last_on) AS last_on
FROM last_opens AS s
WHERE recipient != 0
GROUP BY workspace, recipient
COMMENT 'When each recipient last opened a message of mode date: who has opened none for long may leave the list';
