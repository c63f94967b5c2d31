-- {events} events from number {from} on, of a sender with {recipients} recipients and a mail a day to the same number of
-- them: {per_message} events a message, of which 20,000 were sent. Opens come after a wait of the exponential
-- distribution, half of them of machines. Everything follows from the number, so that the same events come each time.
INSERT INTO events
(
    workspace, message, recipient, received_at, kind, link, target, sent_at, mode, method, verdict, reasons, confidence,
    ruleset, network, device, os, os_version, client, client_version, device_trust, country, region, city, latitude,
    longitude, accuracy_km, time_zone, geo_trust, geo_version, region_class, local_hour, local_weekday, address,
    user_agent, accept_language, host, http_version, domain, profile_country, profile_time_zone, k_topic, k_part, k_off,
    edge_id, seq
)
WITH
    number + {from} AS n,
    intDiv(n, {per_message}) AS m,
    n % {per_message} AS k,
    multiIf(k < 20000, 'sent', k < 34000, 'open', k < 37000, 'click', 'download') AS what,
    sipHash64(n, 1) AS dice,
    -- Who reads one mail more than once is among those it was sent to.
    if(k < 20000, k, sipHash64(n, 2) % 20000) AS place,
    sipHash64(m, place, 3) % {recipients} AS person,
    [('America/New_York', 'US', 'New York', 40.7, -74.0), ('America/Chicago', 'US', 'Chicago', 41.9, -87.6),
     ('America/Los_Angeles', 'US', 'Los Angeles', 34.1, -118.2), ('America/Toronto', 'CA', 'Toronto', 43.7, -79.4),
     ('Asia/Kolkata', 'IN', 'Mumbai', 19.1, 72.9), ('Asia/Tokyo', 'JP', 'Tokyo', 35.7, 139.7),
     ('Australia/Sydney', 'AU', 'Sydney', -33.9, 151.2), ('America/Sao_Paulo', 'BR', 'São Paulo', -23.5, -46.6),
     ('Africa/Lagos', 'NG', 'Lagos', 6.5, 3.4), ('Asia/Singapore', 'SG', 'Singapore', 1.3, 103.8)] AS homes,
    -- Whoever can be asked about by name is at home in Chicago.
    if(person < length({named}), homes[2], homes[1 + sipHash64(person, 4) % length(homes)]) AS home,
    now() - toIntervalDay(1) - toIntervalHour(1) AS latest,
    -- The messages are spread over a year.
    latest - toIntervalSecond(intDiv(({messages} - 1 - m) * 31536000, {messages})) AS sent,
    toDateTime64(sent, 3, 'UTC') + toIntervalMillisecond(if(k < 20000, dice % 600000,
        toInt64(-log((1 + dice % 1000000) / 1000001) * 19800000))) AS received,
    intDiv(dice, 1000000) % 100 AS draw,
    multiIf(what = 'sent', 'none',
        what = 'open', multiIf(draw < 40, 'human', draw < 55, 'proxy', draw < 97, 'prefetch', 'scanner'),
        multiIf(draw < 88, 'human', draw < 97, 'scanner', 'bot')) AS judged,
    [('ios', '18', 'apple mail', '18', 'phone', 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148'),
     ('android', '15', 'gmail', '', 'phone', 'Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36'),
     ('windows', '10', 'outlook', '16', 'desktop', 'Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17126; Pro)'),
     ('macos', '15', 'apple mail', '16', 'desktop', 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)'),
     ('windows', '10', 'thunderbird', '128', 'desktop', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.11.0')] AS agents,
    agents[1 + sipHash64(person, 5) % length(agents)] AS agent,
    judged IN ('human', 'scanner') AS is_placed,
    what != 'sent' AS is_request,
    formatDateTime(received, '%H%u', home.1) AS clock
SELECT
    1, 1 + m, if(person < length({named}), {named}[1 + person], sipHash64(person, 6)), received, what,
    if(what IN ('click', 'download'), 1 + dice % 5, 0),
    multiIf(what = 'click', 'https://shop.example/offers/' || toString(m) || '?place=' || toString(1 + dice % 5), what = 'download', 'https://shop.example/files/price-list-' || toString(1 + dice % 5) || '.pdf', ''),
    sent, 'full', if(is_request, 'GET', 'other'), judged,
    multiIf(judged = 'human', ['mail_client'], judged = 'proxy', ['gmail_proxy'], judged = 'prefetch', ['apple_prefetch'], judged = 'none', [], ['scanner_network']),
    multiIf(judged = 'none', 'none', draw % 10 = 0, 'weak', 'certain'), 1,
    multiIf(judged = 'prefetch', 'apple-egress', judged = 'scanner', 'microsoft-eop', judged = 'proxy', 'google', ''),
    if(judged = 'human', agent.5, 'unknown'), if(judged = 'human', agent.1, ''), if(judged = 'human', agent.2, ''),
    multiIf(judged = 'human', agent.3, judged = 'proxy', 'gmail', judged = 'prefetch', 'apple mail', ''),
    if(judged = 'human', agent.4, ''), if(judged = 'human', 'high', 'none'), if(is_placed, home.2, ''), '',
    if(is_placed, home.3, ''), if(is_placed, home.4, nan), if(is_placed, home.5, nan), if(is_placed, 20, 0),
    if(is_placed OR NOT is_request, home.1, ''), if(judged = 'human', 'high', 'none'), if(is_request, 'synthetic', ''),
    if(is_placed OR NOT is_request, 'other', 'unknown'), if(is_placed OR NOT is_request, toUInt8(substring(clock, 1, 2)), 255),
    if(is_placed OR NOT is_request, toUInt8(substring(clock, 3, 1)), 0),
    if(is_request, toIPv6('81.' || toString(sipHash64(person, 7) % 200) || '.' || toString(sipHash64(person, 8) % 256) || '.0'), toIPv6('::')),
    multiIf(judged = 'proxy', 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)', judged = 'prefetch', 'Mozilla/5.0', is_request, agent.6, ''),
    if(judged = 'human', 'en', ''), if(is_request, 'mail.example', ''), if(is_request, 11, 0),
    if(is_request, 0, sipHash64(person % 5000, 9)), if(is_request, '', home.2), if(is_request, '', home.1), 'synthetic',
    m % 12, intDiv(n, 100), 1 + m % 2, n
FROM numbers({events})
SETTINGS max_insert_block_size = 4194304, max_block_size = 131072, min_insert_block_size_rows = 4194304,
    min_insert_block_size_bytes = 0, max_threads = 1, max_insert_threads = 1, async_insert = 0,
    -- Whoever makes them again after being cut off in the middle makes no row twice.
    insert_deduplicate = 1, insert_deduplication_token = 'events-{from}',
    deduplicate_blocks_in_dependent_materialized_views = 1
