"""What is made of transcripts: played again, a web page, a script, a timeline."""
