-- Drift over time: Predicted and observed success by quarter of receipt.
SELECT
    date_trunc('quarter', date_received) AS date_received,
    AVG(probability) AS predicted_rate,
    AVG(succeeded) AS observed_rate
FROM serving.model_quality
WHERE date_received >= DATE'2011-12-01'
GROUP BY date_trunc('quarter', date_received)
ORDER BY date_received
LIMIT 10000
