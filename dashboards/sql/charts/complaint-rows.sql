-- Complaint rows: The complaints themselves, newest first.
SELECT
    complaint_id,
    date_received,
    product,
    issue,
    company,
    state,
    channel,
    urgency,
    team,
    due_on,
    recommended_action
FROM serving.complaints
ORDER BY date_received DESC, complaint_id
LIMIT 50
