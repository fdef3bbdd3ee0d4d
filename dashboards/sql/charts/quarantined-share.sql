-- Quarantined share: Share of what arrived that was refused, by minute.
SELECT
    date_trunc('minute', minute) AS minute,
    SUM(quarantined) * 1e0 / NULLIF(SUM(received), 0) AS quarantined_share
FROM serving.intake
WHERE in_latest_hour
  AND is_over
GROUP BY date_trunc('minute', minute)
ORDER BY minute
LIMIT 1000
