-- Where recipients are, who wants no send time, and the send times that are kept.

CREATE VIEW IF NOT EXISTS recipient_regions
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key',
    region Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'eu after any sign of the EU, the EEA or the UK in 400 days; other after a sign of another place and none of these',
    eu_at DateTime('UTC') COMMENT 'Latest sign of the EU, the EEA or the UK; the last open in mode date counts as one when any before it was; 1970 when there is none',
    other_at DateTime('UTC') COMMENT 'Latest sign of another place; 1970 when there is none',
    seen_at DateTime('UTC') COMMENT 'Latest event of any kind'
)
AS SELECT
    workspace,
    recipient,
    multiIf(eu_at > now('UTC') - INTERVAL 400 DAY, 'eu', other_at > now('UTC') - INTERVAL 400 DAY, 'other', 'unknown') AS region,
    maxIf(e.at, e.sign = 'eu') AS eu_at,
    maxIf(e.at, e.sign = 'other') AS other_at,
    max(e.at) AS seen_at
FROM
(
    SELECT workspace, recipient, region AS sign, toDateTime(received_at, 'UTC') AS at FROM recipient_events
    UNION ALL
    -- Of mode date there is one day only, the last.
    SELECT workspace, recipient, 'eu', toDateTime(max(last_on), 'UTC') FROM last_opens GROUP BY workspace, recipient HAVING max(eu)
) AS e
GROUP BY workspace, recipient
COMMENT 'Where each recipient is, as far as a send time is concerned';

-- Who wants no send time, and since when. Kept for good: it must outlive every event of theirs.
CREATE TABLE IF NOT EXISTS withdrawals{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key' CODEC(ZSTD(1)),
    withdrawn_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'When it was withdrawn last; 1970 for never' CODEC(ZSTD(1)),
    restored_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'When it was allowed again last; 1970 for never' CODEC(ZSTD(1))
)
ENGINE = {AggregatingMergeTree}
ORDER BY (workspace, recipient)
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Recipients who want no send time. Kept for good.';

-- cluster only
CREATE TABLE IF NOT EXISTS withdrawals AS withdrawals_local
ENGINE = Distributed({cluster}, currentDatabase(), withdrawals_local)
COMMENT 'Recipients who want no send time, of all shards. Kept for good.';

CREATE VIEW IF NOT EXISTS barred_recipients
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key'
)
AS SELECT DISTINCT workspace, recipient FROM
(
    SELECT workspace, recipient FROM recipient_events WHERE region = 'eu' AND received_at > now64(3, 'UTC') - INTERVAL 400 DAY
    UNION ALL
    SELECT workspace, recipient FROM last_opens WHERE recipient != 0 AND eu AND last_on > today() - 400
    UNION ALL
    SELECT workspace, recipient FROM withdrawals GROUP BY workspace, recipient HAVING max(withdrawn_at) > max(restored_at)
)
COMMENT 'For whom no send time may be computed: they withdrew, or showed a sign of the EU, the EEA or the UK in 400 days';

-- What people have in common, as `mailbeacon send-time --refresh` learned it: sums of the counts of all, of which
-- nothing can be taken off and to which nothing can be added, since a late verdict or a move into the EU changes what
-- was counted. So all of a workspace is learned anew at once, from events that are there exactly once; rows of the
-- latest `at` count, and only when that of level `workspace` is among them, which is written last.
CREATE TABLE IF NOT EXISTS send_time_habits{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') COMMENT 'As of when it was learned' CODEC(ZSTD(1)),
    level LowCardinality(String) COMMENT 'Whose: workspace, zone or domain; of a further one what the estimator calls it' CODEC(ZSTD(1)),
    time_zone LowCardinality(String) COMMENT 'IANA time zone, of a zone' CODEC(ZSTD(1)),
    domain UInt64 COMMENT 'Key of the mail domain, of a domain; of a further level its number' CODEC(ZSTD(1)),
    sent Array(Float64) COMMENT 'Mails by hour of the local week of their send: 24 of a weekday, 24 of a day of the weekend; older ones weigh less' CODEC(ZSTD(1)),
    spent Array(Float64) COMMENT 'What answered mails no longer offer, by hour of the answer' CODEC(ZSTD(1)),
    acts Array(Float64) COMMENT 'Answered mails by hour of the answer' CODEC(ZSTD(1)),
    repeats Array(Float64) COMMENT 'Later acts on answered mails' CODEC(ZSTD(1)),
    numbers Map(LowCardinality(String), Array(Float64)) COMMENT 'What else the estimator learned, by name' CODEC(ZSTD(1))
)
ENGINE = {AggregatingMergeTree}
ORDER BY (workspace, level, time_zone, domain, at)
TTL toDateTime(at) + INTERVAL 1 MONTH
SETTINGS index_granularity = 64,
    non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Habits that people of a workspace, a time zone or a company share. Kept for a month.';

-- cluster only
CREATE TABLE IF NOT EXISTS send_time_habits AS send_time_habits_local
ENGINE = Distributed({cluster}, currentDatabase(), send_time_habits_local)
COMMENT 'Habits that people of a workspace, a time zone or a company share, of all shards. Kept for a month.';

-- Written by `mailbeacon send-time --refresh`, all recipients of a workspace at a time; what was there before goes.
CREATE TABLE IF NOT EXISTS send_times{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key' CODEC(ZSTD(1)),
    choice UInt8 COMMENT '1 for the best window, 2 and 3 for the next ones; 0 where there is none' CODEC(ZSTD(1)),
    at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'As of when it was estimated' CODEC(ZSTD(1)),
    refused SimpleAggregateFunction(anyLast, LowCardinality(String)) COMMENT 'Why there is none' CODEC(ZSTD(1)),
    weekday SimpleAggregateFunction(anyLast, LowCardinality(String)) COMMENT 'Days it is for: any, weekday or weekend' CODEC(ZSTD(1)),
    start_hour SimpleAggregateFunction(anyLast, UInt8) COMMENT 'First hour, 0 to 23' CODEC(ZSTD(1)),
    end_hour SimpleAggregateFunction(anyLast, UInt8) COMMENT 'The hour after the last one' CODEC(ZSTD(1)),
    time_zone SimpleAggregateFunction(anyLast, LowCardinality(String)) COMMENT 'IANA time zone of both' CODEC(ZSTD(1)),
    p_open_1h SimpleAggregateFunction(anyLast, Float64) COMMENT 'Probability that mail sent then is opened within an hour; NaN where sends are not told' CODEC(ZSTD(1)),
    lift SimpleAggregateFunction(anyLast, Float64) COMMENT 'Times the sender''s usual hours' CODEC(ZSTD(1)),
    confidence SimpleAggregateFunction(anyLast, Float64) COMMENT 'Probability that it is better than beats_hour' CODEC(ZSTD(1)),
    beats_hour SimpleAggregateFunction(anyLast, UInt8) COMMENT 'The hour that it is compared with' CODEC(ZSTD(1)),
    observed SimpleAggregateFunction(anyLast, Float64) COMMENT 'Acts of the recipient around it, older ones weighing less' CODEC(ZSTD(1)),
    expected SimpleAggregateFunction(anyLast, Float64) COMMENT 'Acts to expect there of people like them' CODEC(ZSTD(1)),
    level SimpleAggregateFunction(anyLast, LowCardinality(String)) COMMENT 'Whose habit spoke: recipient, domain, zone or workspace' CODEC(ZSTD(1))
)
ENGINE = {AggregatingMergeTree}
ORDER BY (workspace, recipient, choice)
TTL toDateTime(at) + INTERVAL 1 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Recommended send times as written. Read them from recommended_send_times. Kept for a month.';

-- cluster only
CREATE TABLE IF NOT EXISTS send_times AS send_times_local
ENGINE = Distributed({cluster}, currentDatabase(), send_times_local)
COMMENT 'Recommended send times as written, of all shards. Kept for a month.';

-- Mails that went out at a drawn hour, for estimates that no habit of the sender bends.
CREATE TABLE IF NOT EXISTS explorations{local}
(
    workspace UInt32 COMMENT 'Workspace' CODEC(ZSTD(1)),
    message UInt64 COMMENT 'Message' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Recipient key' CODEC(ZSTD(1)),
    send_at SimpleAggregateFunction(anyLast, DateTime64(3, 'UTC')) COMMENT 'When it was to be sent' CODEC(ZSTD(1)),
    hour SimpleAggregateFunction(anyLast, UInt8) COMMENT 'The hour of the recipient''s local day that was drawn' CODEC(ZSTD(1)),
    propensity SimpleAggregateFunction(anyLast, Float64) COMMENT 'How likely this mail was to go out in that hour' CODEC(ZSTD(1))
)
ENGINE = {AggregatingMergeTree}
ORDER BY (workspace, message, recipient)
TTL toDateTime(send_at) + INTERVAL 25 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Mails sent at a drawn hour. Kept for 25 months.';

-- cluster only
CREATE TABLE IF NOT EXISTS explorations AS explorations_local
ENGINE = Distributed({cluster}, currentDatabase(), explorations_local)
COMMENT 'Mails sent at a drawn hour, of all shards. Kept for 25 months.';

-- Without those who withdrew, or showed a sign of the EU, the EEA or the UK, since it was written.
CREATE VIEW IF NOT EXISTS recommended_send_times
(
    workspace UInt32 COMMENT 'Workspace',
    recipient UInt64 COMMENT 'Recipient key',
    choice UInt8 COMMENT '1 for the best window, 2 and 3 for the next ones; 0 where there is none',
    refused LowCardinality(String) COMMENT 'Why there is none: time_zone_unknown, not_enough_events or all_quiet; empty when there is one. Whoever is in the EU, the EEA, the UK or an unknown place is not listed at all',
    weekday LowCardinality(String) COMMENT 'Days it is for: any, weekday or weekend',
    start_hour UInt8 COMMENT 'First hour of the recipient''s local day, 0 to 23',
    end_hour UInt8 COMMENT 'The hour after the last one; not above start_hour when the window passes midnight',
    time_zone LowCardinality(String) COMMENT 'IANA time zone of both',
    p_open_1h Float64 COMMENT 'Probability that mail sent then is opened within an hour; NaN where sends are not told',
    lift Float64 COMMENT 'Opens within an hour, times those at the sender''s usual hours',
    confidence Float64 COMMENT 'Probability that the window is better than beats_hour',
    beats_hour UInt8 COMMENT 'The hour that it is compared with: the best one of people like them, or the sender''s usual one',
    observed Float64 COMMENT 'Acts of the recipient around it, older ones weighing less',
    expected Float64 COMMENT 'Acts to expect there of people like them',
    level LowCardinality(String) COMMENT 'Whose habit spoke: recipient, domain, zone or workspace',
    at DateTime64(3, 'UTC') COMMENT 'As of when it was estimated'
)
AS SELECT
    workspace,
    recipient,
    choice,
    argMax(s.refused, s.at) AS refused,
    argMax(s.weekday, s.at) AS weekday,
    argMax(s.start_hour, s.at) AS start_hour,
    argMax(s.end_hour, s.at) AS end_hour,
    argMax(s.time_zone, s.at) AS time_zone,
    argMax(s.p_open_1h, s.at) AS p_open_1h,
    argMax(s.lift, s.at) AS lift,
    argMax(s.confidence, s.at) AS confidence,
    argMax(s.beats_hour, s.at) AS beats_hour,
    argMax(s.observed, s.at) AS observed,
    argMax(s.expected, s.at) AS expected,
    argMax(s.level, s.at) AS level,
    max(s.at) AS at
FROM send_times AS s
WHERE (workspace, recipient) GLOBAL NOT IN (SELECT workspace, recipient FROM barred_recipients)
GROUP BY workspace, recipient, choice
COMMENT 'Windows of the local day in which each recipient is likely to act, or why there are none'
