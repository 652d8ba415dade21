"""What `muntin data check` asks of a data set."""
