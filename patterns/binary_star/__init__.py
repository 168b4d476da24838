"""Binary Star: two servers, exactly one of them active (the Guide, chapter 4).

              peer heartbeats
    +---------+  <----------->  +---------+
    | primary |                 | backup  |
    | active  |                 | passive |
    +---------+                 +---------+
         ^                           ^
         | requests                  | requests, once the primary
         |                           | is silent: the clients' votes
         +-----------clients---------+

Primary and backup are roles and never change; active and passive are states. The passive server
takes over when it hears nothing from its peer and a client asks for service at the same time.
The rules are in `protocol`, the peers' heartbeat in `messages`.
"""
