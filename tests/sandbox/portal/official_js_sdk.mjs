// Run by test_official_js_sdk.py: prints what the official JavaScript SDK gets from the portal.
import { B24Hook } from '@bitrix24/b24jssdk'

const b24 = B24Hook.fromWebhookUrl(process.env.WEBHOOK)
const { call, callList, batch } = b24.actions.v2

const deal = await call.make({ method: 'crm.deal.get', params: { id: 7 } })
const items = await callList.make({
  method: 'crm.item.list',
  params: { entityTypeId: 2, select: ['id', 'title'], filter: { '>opportunity': 5 } },
  idKey: 'id',
  customKeyForResult: 'items'
})
const batched = await batch.make({
  calls: {
    who: { method: 'profile' },
    added: { method: 'crm.deal.add', params: { fields: { TITLE: 'from JavaScript' } } }
  },
  options: { isHaltOnError: true, returnAjaxResult: false }
})
const wrong = { entityTypeId: 2, filter: { '><id': [1, 2] } }
const refused = await call.make({ method: 'crm.item.list', params: wrong }).catch((error) => error)

console.log(JSON.stringify({
  title: deal.getData().result.TITLE,
  ids: items.getData().map((item) => item.id),
  batched: batched.getData(),
  refused: [refused.code, refused.message]
}))
