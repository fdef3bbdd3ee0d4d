-- Escalation rate by the channel that a complaint came through.
SELECT
    submitted_via AS channel,
    count(*) AS complaints,
    round(avg(CASE WHEN escalate THEN 1e0 ELSE 0e0 END), 4) AS escalation_rate
FROM gold.current_decisions
GROUP BY submitted_via
ORDER BY complaints DESC, channel
