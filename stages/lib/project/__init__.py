"""What every stage needs before it touches a model: parameters, prompts, files, errors, DVC's files, worker processes.

Every other room and every stage imports it, and it imports none of them: a change of a name or a rule here is felt
everywhere, so look for its users first. Messages of errors and the insides of functions may be changed freely.
"""
