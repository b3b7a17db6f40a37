"""What happens in the directories behind our back: read by changes, compared with what PAM knows, followed or put right."""
