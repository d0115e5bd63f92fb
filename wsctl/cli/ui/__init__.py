"""What people see: readers of facts, never deciders."""
