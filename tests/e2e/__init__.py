"""The daemon behind a real Postfix: a private one, on loopback, stopped at the end.

*postfix* and *dovecot* run the mail servers, *sink* receives what leaves them, *smtp* is the mail
client, *daemon* runs policyd and reads its log, *policy* asks it without Postfix, *relay* loses
replies on the way, *rules* writes rule files. *mail_system* is all of this in a test's hands.
"""
