-- Complaints of low urgency that the model finds most likely to end well: quick wins.
SELECT
    complaint_id,
    date_received,
    product_family,
    issue,
    company,
    round(probability, 4) AS probability
FROM gold.current_decisions
WHERE urgency = 'low'
ORDER BY round(probability, 4) DESC, complaint_id
LIMIT 50
