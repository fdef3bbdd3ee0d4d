-- High-urgency complaints: Critical and high complaints of the latest hour, newest first, with reasons and what to do.
SELECT
    scored_at,
    urgency,
    product,
    company,
    state,
    why,
    recommended_action,
    team,
    due_on,
    complaint_id
FROM serving.decisions
WHERE in_latest_hour
  AND urgency IN ('critical', 'high')
ORDER BY scored_at DESC, complaint_id
LIMIT 50
