"""How Django itself writes dates where no template says how: the staff console."""
