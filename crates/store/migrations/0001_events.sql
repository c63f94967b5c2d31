-- Every event, once, with what the pipeline made of it.
--
-- Order: a campaign report reads one message; a recipient's history goes through the bloom filter. Ids, hashes and
-- times dominate the size, so that is where the codecs are: 26 bytes an event against 49 with the default codecs
-- and 123 in a table without any of this (`tests/it/size.rs`).
--
-- The deduplication windows stand on this table and on every view's target: without them a repeated INSERT counts
-- twice there. The constraint stands here because the Native format stores a number that its enum does not have,
-- and then nobody can read the column.
CREATE TABLE IF NOT EXISTS events{local}
(
    workspace UInt32 COMMENT 'Workspace: the tenant that sent the message' CODEC(ZSTD(1)),
    message UInt64 COMMENT 'The sender''s message (a campaign or a template run); 0 in mode date' CODEC(ZSTD(1)),
    recipient UInt64 COMMENT 'Keyed hash of the sender''s recipient id; 0 when it may not be known; in mode date cleared when the day after is over, last_opens has the last day' CODEC(ZSTD(1)) TTL if(mode = 'date', toDateTime(received_at) + INTERVAL 2 DAY, toDateTime('2106-01-01 00:00:00', 'UTC')),
    received_at DateTime64(3, 'UTC') COMMENT 'When the edge received the request, in mode anonymous the hour and in mode date the day; for sent, when the message was sent' CODEC(Delta, ZSTD(1)),
    kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4) COMMENT 'What happened' CODEC(ZSTD(1)),
    link UInt32 COMMENT 'Number of the link in the message, from 1; 0 for an open' CODEC(ZSTD(1)),
    target String COMMENT 'Where a click or a download went; empty in mode anonymous' CODEC(ZSTD(1)),
    sent_at DateTime('UTC') COMMENT 'When the message was sent; 1970-01-01 when unknown' CODEC(Delta, ZSTD(1)),
    position Enum8('unknown' = 0, 'top' = 1, 'bottom' = 2) COMMENT 'Where the pixel stands in the message' CODEC(ZSTD(1)),
    mode Enum8('unspecified' = 0, 'full' = 1, 'anonymous' = 2, 'date' = 3, 'off' = 4) COMMENT 'How much may be recorded, by the link or by what the visitor asked for; unspecified is read as full' CODEC(ZSTD(1)),
    region_claim Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'What the sender says of the recipient''s place; eu is the EU, the EEA and the UK' CODEC(ZSTD(1)),
    trap Bool COMMENT 'A link that no person sees' CODEC(ZSTD(1)),
    method Enum8('other' = 0, 'GET' = 1, 'HEAD' = 2) COMMENT 'HTTP method' CODEC(ZSTD(1)),
    verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5) COMMENT 'Who made the request, as judged on arrival; proxy is a person behind an image proxy; none for sent. events_current has the verdict of today' CODEC(ZSTD(1)),
    reasons Array(LowCardinality(String)) COMMENT 'Codes of the rules that spoke, the decisive one first' CODEC(ZSTD(1)),
    confidence Enum8('none' = 0, 'weak' = 1, 'probable' = 2, 'certain' = 3) COMMENT 'How sure the verdict is' CODEC(ZSTD(1)),
    ruleset UInt16 COMMENT 'Version of the rules behind the verdict' CODEC(ZSTD(1)),
    network LowCardinality(String) COMMENT 'Who runs the network of the address, such as microsoft-eop or apple-egress; empty when it is no known one' CODEC(ZSTD(1)),
    device Enum8('unknown' = 0, 'phone' = 1, 'tablet' = 2, 'desktop' = 3, 'tv' = 4, 'console' = 5, 'wearable' = 6, 'other' = 7) COMMENT 'Device type' CODEC(ZSTD(1)),
    os LowCardinality(String) COMMENT 'Operating system; empty when unknown' CODEC(ZSTD(1)),
    os_version LowCardinality(String) COMMENT 'Version of the operating system' CODEC(ZSTD(1)),
    client LowCardinality(String) COMMENT 'Mail client or browser; empty when unknown' CODEC(ZSTD(1)),
    client_version LowCardinality(String) COMMENT 'Version of the client' CODEC(ZSTD(1)),
    device_trust Enum8('none' = 0, 'low' = 1, 'high' = 2) COMMENT 'How far device, os and client may be believed' CODEC(ZSTD(1)),
    country LowCardinality(String) COMMENT 'ISO 3166-1 alpha-2 code from the address; empty when unknown' CODEC(ZSTD(1)),
    region LowCardinality(String) COMMENT 'First subdivision of the country' CODEC(ZSTD(1)),
    city LowCardinality(String) COMMENT 'City, in English' CODEC(ZSTD(1)),
    latitude Float32 COMMENT 'Degrees north; NaN when unknown' CODEC(ZSTD(1)),
    longitude Float32 COMMENT 'Degrees east; NaN when unknown' CODEC(ZSTD(1)),
    accuracy_km UInt16 COMMENT 'Radius around the coordinates in kilometres; 0 when unknown' CODEC(ZSTD(1)),
    time_zone LowCardinality(String) COMMENT 'IANA time zone that local_hour and local_weekday are in; empty when unknown' CODEC(ZSTD(1)),
    geo_trust Enum8('none' = 0, 'low' = 1, 'high' = 2) COMMENT 'How far the place may be believed' CODEC(ZSTD(1)),
    geo_version LowCardinality(String) COMMENT 'Which geographic data was used' CODEC(ZSTD(1)),
    region_class Enum8('unknown' = 0, 'eu' = 1, 'other' = 2) COMMENT 'The recipient''s region by all evidence of this event; eu is the EU, the EEA and the UK' CODEC(ZSTD(1)),
    local_hour UInt8 COMMENT 'Hour of the day in time_zone, 0 to 23; 255 when unknown' CODEC(ZSTD(1)),
    local_weekday UInt8 COMMENT 'Day of the week in time_zone, 1 (Monday) to 7; 0 when unknown' CODEC(ZSTD(1)),
    address IPv6 COMMENT 'Client address as privacy.address has it: network, hash of the day in fd00::/8, or whole; cleared after 30 days; :: when there is none' CODEC(ZSTD(1)) TTL toDateTime(received_at) + INTERVAL 30 DAY,
    user_agent LowCardinality(String) COMMENT 'User-Agent header; in mode anonymous the crowd that it is of, such as crowd:phone-ios' CODEC(ZSTD(1)),
    accept_language LowCardinality(String) COMMENT 'Accept-Language header' CODEC(ZSTD(1)),
    referer String COMMENT 'Referer header' CODEC(ZSTD(1)),
    host LowCardinality(String) COMMENT 'Host header' CODEC(ZSTD(1)),
    http_version UInt8 COMMENT 'HTTP version: 10, 11 or 20; 0 when unknown' CODEC(ZSTD(1)),
    dnt Bool COMMENT 'The client sent DNT: 1' CODEC(ZSTD(1)),
    sec_gpc Bool COMMENT 'The client sent Sec-GPC: 1' CODEC(ZSTD(1)),
    replay Bool COMMENT 'The event left the edge''s journal more than once' CODEC(ZSTD(1)),
    domain UInt64 COMMENT 'Keyed hash of the recipient''s mail domain, on sent; 0 when unknown' CODEC(ZSTD(1)),
    profile_country LowCardinality(String) COMMENT 'Country the sender has on file, on sent' CODEC(ZSTD(1)),
    profile_time_zone LowCardinality(String) COMMENT 'Time zone the sender has on file, on sent' CODEC(ZSTD(1)),
    corrects Array(Tuple(edge_id UInt64, seq UInt64, received_at DateTime64(3, 'UTC'), recipient UInt64, kind Enum8('sent' = 1, 'open' = 2, 'click' = 3, 'download' = 4), link UInt32, verdict Enum8('none' = 0, 'human' = 1, 'proxy' = 2, 'prefetch' = 3, 'scanner' = 4, 'bot' = 5), confidence Enum8('none' = 0, 'weak' = 1, 'probable' = 2, 'certain' = 3), reason LowCardinality(String))) COMMENT 'Earlier events of the message that this one shows in another light, each with its verdict; they go to corrections' CODEC(ZSTD(1)),
    k_topic LowCardinality(String) COMMENT 'Provenance: the source, a Kafka topic or a journal' CODEC(ZSTD(1)),
    k_part UInt32 COMMENT 'Provenance: partition of the source' CODEC(ZSTD(1)),
    k_off UInt64 COMMENT 'Provenance: offset of the message that carried the event' CODEC(Delta, ZSTD(1)),
    edge_id UInt64 COMMENT 'The edge that received the event; (edge_id, seq) names it for good' CODEC(ZSTD(1)),
    seq UInt64 COMMENT 'Number of the event at its edge' CODEC(Delta, ZSTD(1)),
    INDEX by_recipient recipient TYPE bloom_filter(0.025) GRANULARITY 1,
    INDEX by_offset k_off TYPE minmax GRANULARITY 1,
    INDEX by_seq seq TYPE minmax GRANULARITY 1,
    INDEX by_trap trap TYPE minmax GRANULARITY 1,
    CONSTRAINT known_codes CHECK toInt8(kind) BETWEEN 1 AND 4
        AND toInt8(position) BETWEEN 0 AND 2
        AND toInt8(mode) BETWEEN 0 AND 4
        AND toInt8(region_claim) BETWEEN 0 AND 2
        AND toInt8(method) BETWEEN 0 AND 2
        AND toInt8(verdict) BETWEEN 0 AND 5
        AND toInt8(confidence) BETWEEN 0 AND 3
        AND toInt8(device) BETWEEN 0 AND 7
        AND toInt8(device_trust) BETWEEN 0 AND 2
        AND toInt8(geo_trust) BETWEEN 0 AND 2
        AND toInt8(region_class) BETWEEN 0 AND 2
)
ENGINE = {MergeTree}
PARTITION BY toYYYYMM(received_at)
ORDER BY (workspace, message, kind, received_at)
TTL toDateTime(received_at) + INTERVAL 25 MONTH
SETTINGS non_replicated_deduplication_window = 10000,
    replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Engagement events, one row each. Kept for 25 months, addresses for 30 days.';

-- cluster only
CREATE TABLE IF NOT EXISTS events AS events_local
ENGINE = Distributed({cluster}, currentDatabase(), events_local)
COMMENT 'Engagement events, one row each, of all shards. Kept for 25 months, addresses for 30 days.';

CREATE VIEW IF NOT EXISTS events_audit
(
    edge_id UInt64 COMMENT 'The edge',
    events UInt64 COMMENT 'Events of the edge that are here',
    duplicates UInt64 COMMENT 'Events that are here more than once',
    missing UInt64 COMMENT 'Numbers between the first and the last that are not here: in flight, dead-lettered, expired, erased or lost',
    first_seq UInt64 COMMENT 'Lowest number',
    last_seq UInt64 COMMENT 'Highest number',
    last_received_at DateTime64(3, 'UTC') COMMENT 'Latest receive time'
)
AS SELECT
    edge_id,
    count() AS events,
    count() - uniqExact(seq) AS duplicates,
    max(seq) - min(seq) + 1 - uniqExact(seq) AS missing,
    min(seq) AS first_seq,
    max(seq) AS last_seq,
    max(received_at) AS last_received_at
FROM events
-- From here on names of imported events begin, which are no numbers.
WHERE edge_id < 0xffffffffffffff00
GROUP BY edge_id
COMMENT 'Whether every event of each edge is here once. Reads the whole table.';
