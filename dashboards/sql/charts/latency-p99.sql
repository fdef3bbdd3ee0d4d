-- Latency p99: 99th percentile of the seconds from Kafka to the score, by minute.
SELECT
    date_trunc('minute', scored_at) AS scored_at,
    percentile(latency_s, 0.99) AS latency_p99
FROM serving.decisions
WHERE in_latest_hour
GROUP BY date_trunc('minute', scored_at)
ORDER BY scored_at
LIMIT 1000
