"""The demo model: a small GPT-2 trained on synthetic English that this recipe writes."""
