-- Complaints over time: Complaints a month, with the year before beside each.
SELECT
    date_trunc('month', date_received) AS date_received,
    COUNT(*) AS complaints
FROM serving.complaints
WHERE date_received >= DATE'2011-12-01'
GROUP BY date_trunc('month', date_received)
ORDER BY date_received
LIMIT 10000
