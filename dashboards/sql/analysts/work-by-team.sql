-- What waits for each team: complaints, of these urgent, of these escalated.
SELECT
    team,
    count(*) AS complaints,
    sum(CASE WHEN urgency IN ('critical', 'high') THEN 1 ELSE 0 END) AS urgent,
    sum(CASE WHEN escalate THEN 1 ELSE 0 END) AS escalated
FROM gold.current_decisions
GROUP BY team
ORDER BY complaints DESC, team
