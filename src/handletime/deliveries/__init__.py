"""What other systems send by themselves (webhooks): proved, kept until it is mapped, and mapped into events."""
