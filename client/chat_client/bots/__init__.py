"""What `chat_client.Bot` is made of: commands, lines, the folder, and what runs it all."""
