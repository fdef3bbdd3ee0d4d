"""Land what arrives, as it arrives: Kafka messages and export files become rows of bronze.complaints."""
