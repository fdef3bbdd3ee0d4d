-- Live escalation rate: Share of the complaints that ask for a second reader, by minute.
SELECT
    date_trunc('minute', minute) AS minute,
    SUM(escalated) * 1e0 / NULLIF(SUM(complaints), 0) AS escalation_rate
FROM serving.minutes
WHERE in_latest_hour
  AND is_over
GROUP BY date_trunc('minute', minute)
ORDER BY minute
LIMIT 1000
