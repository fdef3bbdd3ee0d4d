-- Urgency of the complaints of servicemembers and of older consumers, beside everyone's.
SELECT 'servicemembers' AS who, urgency, count(*) AS complaints
FROM gold.current_decisions
WHERE is_servicemember
GROUP BY urgency
UNION ALL
SELECT 'older consumers', urgency, count(*)
FROM gold.current_decisions
WHERE is_older_american
GROUP BY urgency
UNION ALL
SELECT 'everyone', urgency, count(*)
FROM gold.current_decisions
GROUP BY urgency
ORDER BY who, urgency
