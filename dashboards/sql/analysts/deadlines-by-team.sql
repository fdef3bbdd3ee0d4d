-- Urgent complaints by deadline and team, the latest deadline first.
SELECT
    due_on,
    team,
    urgency,
    count(*) AS complaints
FROM gold.current_decisions
WHERE urgency IN ('critical', 'high') AND due_on IS NOT NULL
GROUP BY due_on, team, urgency
ORDER BY due_on DESC, team, urgency
LIMIT 50
